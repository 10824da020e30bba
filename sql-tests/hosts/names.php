<?php
// PHP's SQLite3 class expands names, and PDO's driver hands them on; neither takes a URI for what it is.
$loader = new SQLite3(':memory:');
$loader->loadExtension('maniac.so');
echo 'default: ', $loader->querySingle('SELECT maniac_default_vfs()'), "\n";

$shop = new SQLite3('shop.maniac');
$shop->enableExceptions(true);
$shop->exec("CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items(name) VALUES ('anvil'), ('bolt')");
$shop->querySingle("SELECT maniac_branch_create('dev')");
$dev = new SQLite3('shop.maniac?branch=dev');
$dev->exec("INSERT INTO items(name) VALUES ('cog')");
echo 'dev: ', $dev->querySingle('SELECT group_concat(name) FROM items'), "\n";

$pdo = new PDO('sqlite:shop.maniac?branch=dev&mode=ro');
echo 'pdo: ', $pdo->query('SELECT count(*) FROM items')->fetchColumn(), "\n";
try {
    $pdo->exec('DELETE FROM items');
} catch (PDOException $error) {
    echo 'write: ', $error->getMessage(), "\n";
}

$plain = new SQLite3('plain.db');
$plain->exec("CREATE TABLE p(a); INSERT INTO p VALUES (1); ATTACH 'shop.maniac?branch=dev' AS dev");
echo 'both: ', $plain->querySingle('SELECT a FROM p'), ' ', $plain->querySingle('SELECT count(*) FROM dev.items'), "\n";
