"""Orders of demonstrations; the last demonstration is adjacent to the query."""

from typing import TYPE_CHECKING

from promptkit.core.class_table import named_attributes
from promptkit.manipulate.order.fixed import ORDERS as ORDERS
from promptkit.manipulate.order.fixed import Given as Given
from promptkit.manipulate.order.fixed import Interleaved as Interleaved
from promptkit.manipulate.order.fixed import NearestFirst as NearestFirst
from promptkit.manipulate.order.fixed import NearestLast as NearestLast
from promptkit.manipulate.order.fixed import Shuffled as Shuffled
from promptkit.manipulate.order.fixed import default_order as default_order
from promptkit.manipulate.order.fixed import register as register
from promptkit.manipulate.order.order import Order as Order
from promptkit.manipulate.order.searched import GlobalE as GlobalE
from promptkit.manipulate.order.searched import LeastEntropy as LeastEntropy
from promptkit.manipulate.order.searched import LocalE as LocalE

# the registered names (see `named_attributes`)
given = Given
shuffled = Shuffled
nearest_last = NearestLast
nearest_first = NearestFirst
interleaved = Interleaved
globale = GlobalE
locale = LocalE
least_entropy = LeastEntropy
if not TYPE_CHECKING:  # type checkers report unknown names
    __getattr__ = named_attributes(__name__, ORDERS)
