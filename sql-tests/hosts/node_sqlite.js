// Node's own module takes names, and URIs too.
const { DatabaseSync } = require('node:sqlite')

const loader = new DatabaseSync(':memory:', { allowExtension: true })
loader.loadExtension(process.env.EXTENSION)
const value = (database, sql) => Object.values(database.prepare(sql).get())[0]
console.log('default:', value(loader, 'SELECT maniac_default_vfs()'))

const shop = new DatabaseSync('shop.maniac')
shop.exec("CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items(name) VALUES ('anvil'), ('bolt')")
shop.exec("SELECT maniac_branch_create('dev')")
const dev = new DatabaseSync('shop.maniac?branch=dev')
dev.exec("INSERT INTO items(name) VALUES ('cog')")
console.log('dev:', value(dev, 'SELECT group_concat(name) FROM items'))
console.log('uri:', value(new DatabaseSync('file:shop.maniac?vfs=maniac'), 'SELECT count(*) FROM items'))
try {
  new DatabaseSync('shop.maniac', { readOnly: true }).exec('DELETE FROM items')
} catch (error) {
  console.log('write:', error.message)
}
const plain = new DatabaseSync('plain.db')
plain.exec("CREATE TABLE p(a); INSERT INTO p VALUES (1); ATTACH 'shop.maniac?branch=dev' AS dev")
console.log('both:', value(plain, 'SELECT a FROM p'), value(plain, 'SELECT count(*) FROM dev.items'))
