# Ruby's sqlite3 takes names, and URIs too.
require 'sqlite3'

loader = SQLite3::Database.new(':memory:')
loader.enable_load_extension(true)
loader.load_extension(ENV.fetch('EXTENSION'))
puts "default: #{loader.get_first_value('SELECT maniac_default_vfs()')}"

shop = SQLite3::Database.new('shop.maniac')
shop.execute_batch("CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items(name) VALUES ('anvil'), ('bolt')")
shop.get_first_value("SELECT maniac_branch_create('dev')")
dev = SQLite3::Database.new('shop.maniac?branch=dev')
dev.transaction { |connection| connection.execute('INSERT INTO items(name) VALUES (?)', ['cog']) }
puts "dev: #{dev.get_first_value('SELECT group_concat(name) FROM items')}"
begin
  SQLite3::Database.new('shop.maniac?branch=dev', readonly: true).execute('DELETE FROM items')
rescue SQLite3::ReadOnlyException => error
  puts "write: #{error.message}"
end

plain = SQLite3::Database.new('plain.db')
plain.execute_batch("CREATE TABLE p(a); INSERT INTO p VALUES (1); ATTACH 'shop.maniac?branch=dev' AS dev")
puts "both: #{plain.get_first_value('SELECT a FROM p')} #{plain.get_first_value('SELECT count(*) FROM dev.items')}"
