"""Orders of demonstrations; the last demonstration is adjacent to the query."""

from promptkit.manipulate.order.fixed import ORDERS as ORDERS
from promptkit.manipulate.order.fixed import default_order as default_order
from promptkit.manipulate.order.fixed import given as given
from promptkit.manipulate.order.fixed import interleaved as interleaved
from promptkit.manipulate.order.fixed import nearest_first as nearest_first
from promptkit.manipulate.order.fixed import nearest_last as nearest_last
from promptkit.manipulate.order.fixed import register as register
from promptkit.manipulate.order.fixed import shuffled as shuffled
from promptkit.manipulate.order.order import Order as Order
from promptkit.manipulate.order.searched import globale as globale
from promptkit.manipulate.order.searched import least_entropy as least_entropy
from promptkit.manipulate.order.searched import locale as locale
