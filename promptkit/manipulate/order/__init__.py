"""In which order demonstrations are shown; the last one is nearest to the query."""

from promptkit.manipulate.order.fixed import ORDERS as ORDERS
from promptkit.manipulate.order.fixed import default_order as default_order
from promptkit.manipulate.order.fixed import given as given
from promptkit.manipulate.order.fixed import interleaved as interleaved
from promptkit.manipulate.order.fixed import nearest_first as nearest_first
from promptkit.manipulate.order.fixed import nearest_last as nearest_last
from promptkit.manipulate.order.fixed import shuffled as shuffled
from promptkit.manipulate.order.searched import globale as globale
from promptkit.manipulate.order.searched import least_entropy as least_entropy
from promptkit.manipulate.order.searched import locale as locale
