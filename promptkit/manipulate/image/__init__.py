"""Programs for images: operations on pixels before a frozen classifier, fixed or learned."""
