"""What models cost, as every process may ask it: no I/O, nothing but arithmetic on a rate book.

``units``    what is counted, and how its buckets stand to each other
``book``     the rate book: rows, dated prices, tiers, variants, where each comes from
``lazy_book``    a book's text, of which only what is needed is read
``names``    which row a provider's and a model's name mean
``tariff``   one price, made ready to be multiplied with counts
``prices``   a book that is asked for costs
``overlay``  rows of one's own, laid over a book

Money is int pico-dollars (10**-12 USD). A price that is not known is ``Unpriced``, never 0.
"""
