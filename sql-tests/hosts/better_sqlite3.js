// better-sqlite3 is built without URIs: names alone say what to open.
const Database = require('better-sqlite3')

const loader = new Database(':memory:')
loader.loadExtension(process.env.EXTENSION)
console.log('default:', loader.prepare('SELECT maniac_default_vfs()').pluck().get())

const value = (database, sql) => database.prepare(sql).pluck().get()
const attempt = (what, call) => {
  try {
    console.log(what, call())
  } catch (error) {
    console.log(what, error.code, error.message)
  }
}

const shop = new Database('shop.maniac')
shop.exec('CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT)')
const insert = shop.prepare('INSERT INTO items(name) VALUES (?)')
shop.transaction((names) => names.forEach((name) => insert.run(name)))(['anvil', 'bolt'])
console.log('head:', value(shop, 'SELECT maniac_head()'))
console.log('journal:', shop.pragma('journal_mode', { simple: true }))
shop.exec("SELECT maniac_branch_create('dev')")

const dev = new Database('shop.maniac?branch=dev')
dev.exec("INSERT INTO items(name) VALUES ('cog')")
console.log('dev:', value(dev, 'SELECT group_concat(name) FROM items'))
console.log('main:', value(shop, 'SELECT group_concat(name) FROM items'))

const uri = new Database('file:shop.maniac?vfs=maniac&branch=dev')
console.log('uri:', value(uri, 'SELECT maniac_branch()'))

const before = new Database('shop.maniac?at=1', { readonly: true })
console.log('before:', value(before, 'SELECT count(*) FROM items'))
attempt('write:', () => new Database('shop.maniac?mode=ro').exec('DELETE FROM items'))
attempt('missing:', () => new Database('none.maniac', { fileMustExist: true }))
attempt('branch:', () => new Database('shop.maniac?branch=none'))
console.log('because', value(loader, 'SELECT maniac_last_error()').replace(process.cwd(), '.'))

const plain = new Database('plain.db')
console.log('plain:', plain.pragma('journal_mode = wal', { simple: true }))
plain.exec("CREATE TABLE p(a); ATTACH 'shop.maniac?branch=dev' AS dev")
plain.transaction(() => plain.exec("INSERT INTO p VALUES (1); INSERT INTO dev.items(name) VALUES ('disc')"))()
console.log('both:', value(plain, 'SELECT a FROM p'), value(plain, 'SELECT count(*) FROM dev.items'))
plain.exec("VACUUM INTO 'copy.db'")
console.log('copy:', value(new Database('copy.db', { fileMustExist: true }), 'SELECT a FROM p'))

shop.backup('backup.db').then(() => {
  console.log('backup:', value(new Database('backup.db'), 'SELECT group_concat(name) FROM items'))
})
