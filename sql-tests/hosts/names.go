// Go's mattn/go-sqlite3 cuts a name at its question mark where it finds parameters of its own, and
// hands on what remains.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	sqlite3 "github.com/mattn/go-sqlite3"
)

func open(driver, name string) *sql.DB {
	db, err := sql.Open(driver, name)
	if err != nil {
		log.Fatal(err)
	}
	return db
}

func value(db *sql.DB, query string) (out string) {
	if err := db.QueryRow(query).Scan(&out); err != nil {
		log.Fatal(query, ": ", err)
	}
	return
}

func run(db *sql.DB, statement string) {
	if _, err := db.Exec(statement); err != nil {
		log.Fatal(statement, ": ", err)
	}
}

func main() {
	sql.Register("loader", &sqlite3.SQLiteDriver{Extensions: []string{os.Getenv("EXTENSION")}})
	fmt.Println("default:", value(open("loader", ":memory:"), "SELECT maniac_default_vfs()"))

	shop := open("sqlite3", "shop.maniac")
	run(shop, "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items(name) VALUES ('anvil'), ('bolt')")
	value(shop, "SELECT maniac_branch_create('dev')")
	dev := open("sqlite3", "file:shop.maniac?branch=dev")
	run(dev, "INSERT INTO items(name) VALUES ('cog')")
	fmt.Println("dev:", value(dev, "SELECT group_concat(name) FROM items"))
	if _, err := open("sqlite3", "file:shop.maniac?branch=dev&mode=ro").Exec("DELETE FROM items"); err != nil {
		fmt.Println("write:", err)
	}

	plain := open("sqlite3", "plain.db")
	plain.SetMaxOpenConns(1)
	run(plain, "CREATE TABLE p(a); INSERT INTO p VALUES (1); ATTACH 'shop.maniac?branch=dev' AS dev")
	fmt.Println("both:", value(plain, "SELECT a FROM p"), value(plain, "SELECT count(*) FROM dev.items"))
}
