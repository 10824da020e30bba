/*
 * Prints the changes of a branch that this consumer has not acknowledged yet, then waits for more.
 *
 *     cc follow.c -I dist -L dist -lmaniac_client -o follow
 *     ./follow shop.maniac main follow.cursor 0
 *
 * Arguments: store, branch, cursor file, and for how many milliseconds to wait for more after the last.
 */
#include <stdio.h>
#include <stdlib.h>

#include "maniac.h"

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, maniac_error_message());
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: %s STORE BRANCH CURSOR WAIT_MS\n", argv[0]);
        return 2;
    }
    maniac_consumer *consumer = NULL;
    if (maniac_open(argv[1], argv[2], argv[3], 0, &consumer) != MANIAC_OK) {
        return fail("open");
    }
    int status = 0;
    for (;;) {
        const maniac_transaction *transaction;
        maniac_status next = maniac_next_transaction(consumer, &transaction);
        if (next == MANIAC_DONE) {
            next = maniac_wait(consumer, atoll(argv[4]));
            if (next == MANIAC_OK) {
                continue;
            }
            if (next != MANIAC_TIMEOUT) {
                status = fail("wait");
            }
            break;
        }
        if (next != MANIAC_OK) {
            status = fail("next transaction");
            break;
        }
        printf("version %llu, %zu bytes of changes\n", (unsigned long long)transaction->version,
               transaction->changeset_len);
        if (transaction->unreadable) {
            printf("  unreadable: %s\n", transaction->unreadable);
        }
        const maniac_change *change;
        while ((next = maniac_next_change(consumer, &change)) == MANIAC_OK) {
            if (change->op == MANIAC_UNREADABLE) {
                printf("  unreadable %s %s\n", change->table, change->new_values);
                continue;
            }
            const char *op = change->op == MANIAC_INSERT ? "insert" : change->op == MANIAC_DELETE ? "delete" : "update";
            printf("  %s %s %s %s -> %s\n", op, change->table, change->key,
                   change->old_values ? change->old_values : "nothing",
                   change->new_values ? change->new_values : "nothing");
        }
        if (next != MANIAC_DONE) {
            status = fail("next change");
            break;
        }
        fflush(stdout);
        if (maniac_acknowledge(consumer, transaction->version) != MANIAC_OK) {
            status = fail("acknowledge");
            break;
        }
    }
    maniac_close(consumer);
    return status;
}
