"""Django on a store: `django_shop.py first` makes the tables by a migration and fills them, `second` migrates them to other
models and back. Run in an empty directory, where the application `shop` is written to."""

import sys
from pathlib import Path

import django
import extension  # noqa: F401
from django.conf import settings

STORE = "file:shop.maniac?vfs=maniac"

MODELS = """
from django.db import models

class Customer(models.Model):
    name = models.CharField(max_length=30, unique=True)
    meta = models.JSONField(default=dict)

class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="orders")
    cents = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2)
    made = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(cents__gt=0), name="positive")]
"""

LATER = MODELS.replace("max_length=30, unique=True", "max_length=60, unique=True, null=True").replace(
    "cents = models.PositiveIntegerField()",
    "cents = models.BigIntegerField(default=1)\n    city = models.CharField(max_length=9, default='Wien', db_index=True)",
) + """
class Tag(models.Model):
    orders = models.ManyToManyField(Order)
"""


def database(name, **options):
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}


first = sys.argv[1] == "first"
shop = Path("shop")
shop.mkdir(exist_ok=True)
(shop / "__init__.py").touch()
(shop / "models.py").write_text(MODELS if first else LATER)
sys.path.insert(0, ".")
init = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
settings.configure(
    INSTALLED_APPS=["shop"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    DATABASES={
        "default": database(STORE, timeout=5, transaction_mode="IMMEDIATE", init_command=init),
        "dev": database(f"{STORE}&branch=dev"),
    },
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, connections, transaction  # noqa: E402
from shop.models import Customer, Order  # noqa: E402


def refused(what, **values):
    try:
        with transaction.atomic():
            Order.objects.create(price=1, **values)
    except IntegrityError as error:
        print(f"{what}:", error)


def sql(text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall()


call_command("makemigrations", "shop", verbosity=0)
call_command("migrate", verbosity=0)
if first:
    ann = Customer.objects.create(name="ann", meta={"a": [1]})
    Order.objects.bulk_create([Order(customer=ann, cents=n, price="1.50") for n in range(1, 401)])
    with transaction.atomic():
        Customer.objects.create(name="bob")
        try:
            with transaction.atomic():
                Customer.objects.create(name="ann")
        except IntegrityError as error:
            print("savepoint:", error)
    try:
        with transaction.atomic():
            Customer.objects.create(name="zoe")
            raise ValueError("undone")
    except ValueError as error:
        print(error)
    refused("check", customer=ann, cents=0)
    refused("foreign key", customer_id=99, cents=1)
    print(list(Customer.objects.order_by("id").values_list("name", "meta__a")), Order.objects.filter(made__year__gt=2000).count())
    print(sql("PRAGMA journal_mode"), sql("PRAGMA foreign_keys"))
else:
    from shop.models import Tag

    order = Order.objects.select_related("customer").get(cents=7)
    print(order.city, order.price, order.customer.name, Order.objects.count())
    Tag.objects.create().orders.add(order)
    sql("SELECT maniac_branch_create('dev')")
    Customer.objects.using("dev").filter(name="ann").delete()
    print("branches:", Order.objects.using("dev").count(), Order.objects.count())
    call_command("migrate", "shop", "0001", verbosity=0)
    print(sql("PRAGMA integrity_check"), sql("PRAGMA foreign_key_check"))
    print(sql("SELECT count(*), sum(price) FROM shop_order"))
connections.close_all()
