"""SQLAlchemy on a store: its unit of work, savepoints, reflection, isolation levels, and a migration by alembic."""

import extension  # noqa: F401
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import JSON, CheckConstraint, Column, DateTime, ForeignKey, String, create_engine, event, func, insert
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

URL = "sqlite:///file:shop.maniac?vfs=maniac&uri=true"


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30), unique=True)
    orders: Mapped[list["Order"]] = relationship(back_populates="customer", cascade="all, delete-orphan")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    cents: Mapped[int] = mapped_column(CheckConstraint("cents > 0"))
    made = mapped_column(DateTime, server_default=func.current_timestamp())
    meta = mapped_column(JSON)
    customer: Mapped[Customer] = relationship(back_populates="orders")


engine = create_engine(URL)


@event.listens_for(engine, "connect")
def pragmas(connection, _):
    for pragma in ["foreign_keys = ON", "journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 5000"]:
        connection.execute("PRAGMA " + pragma)


def scalar(connection, sql):
    return connection.execute(text(sql)).scalar()


# Twice: the second time it looks and finds the tables.
Base.metadata.create_all(engine)
Base.metadata.create_all(engine)

with Session(engine) as session, session.begin():
    session.add(Customer(name="ann", orders=[Order(cents=5, meta={"a": [1, 2]}), Order(cents=7)]))
with Session(engine) as session:
    session.add(Customer(name="bob"))
    session.flush()
    try:
        with session.begin_nested():
            session.add(Customer(name="ann"))
            session.flush()
    except IntegrityError as error:
        print("savepoint:", error.orig)
    session.commit()
with Session(engine) as session:
    session.add(Customer(name="zoe"))
    session.flush()
    session.rollback()
    print("names:", session.scalars(select(Customer.name).order_by(Customer.id)).all())
    ann = session.scalars(select(Customer).where(Customer.name == "ann").options(selectinload(Customer.orders))).one()
    print("orders:", [(order.cents, order.meta, order.made is not None) for order in ann.orders])
    session.delete(ann)
    session.commit()
    print("cascade:", session.scalar(select(func.count()).select_from(Order)))
    session.add(Order(customer_id=99, cents=1))
    try:
        session.commit()
    except IntegrityError as error:
        print("foreign key:", error.orig)

with engine.connect() as connection:
    print("pragmas:", scalar(connection, "PRAGMA journal_mode"), scalar(connection, "PRAGMA foreign_keys"))
    rows = connection.execute(insert(Customer).returning(Customer.id), [{"name": "x"}, {"name": "y"}])
    print("returning:", rows.scalars().all())
    connection.commit()
schema = inspect(engine)
print("reflected:", schema.get_table_names(), schema.get_foreign_keys("orders")[0]["referred_table"],
      schema.get_unique_constraints("customer")[0]["column_names"])
for level in ["SERIALIZABLE", "READ UNCOMMITTED", "AUTOCOMMIT"]:
    with engine.connect().execution_options(isolation_level=level) as connection:
        print(f"{level}:", scalar(connection, "SELECT count(*) FROM customer"))

first, second = engine.connect(), engine.connect()
first.execute(text("INSERT INTO customer(name) VALUES ('a')"))
second.execute(text("PRAGMA busy_timeout = 0"))
try:
    second.execute(text("INSERT INTO customer(name) VALUES ('b')"))
except OperationalError as error:
    print("busy:", error.orig)
second.rollback()
first.commit()
second.execute(text("INSERT INTO customer(name) VALUES ('b')"))
second.commit()
first.close()
second.close()

with engine.begin() as connection:
    Operations(MigrationContext.configure(connection)).add_column("customer", Column("city", String, server_default="Wien"))
with engine.begin() as connection:
    # Another table in its place, with the rows of the old one.
    with Operations(MigrationContext.configure(connection)).batch_alter_table("customer") as batch:
        batch.alter_column("name", new_column_name="label", type_=String(60))
        batch.create_index("by_city", ["city"])
with engine.connect() as connection:
    rows = connection.execute(text("SELECT id, label, city FROM customer ORDER BY id"))
    print("migrated:", [tuple(row) for row in rows], scalar(connection, "PRAGMA integrity_check"))
    scalar(connection, "SELECT maniac_branch_create('dev')")

dev = create_engine(URL.replace("&uri", "&branch=dev&uri"))
with dev.begin() as connection:
    connection.execute(text("DELETE FROM customer"))
with dev.connect() as branch, engine.connect() as main:
    count = "SELECT count(*) FROM customer"
    print("branches:", scalar(branch, count), scalar(main, count))
dev.dispose()
engine.dispose()
