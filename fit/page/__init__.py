"""The page of a head, report.html: one file that shows it all without a network, and a model card beside it.

Gathered in `gather.py` from the head's folder and its store as the values of `content.py`, written as HTML by
`render.py`. Nothing here imports matplotlib, so `fit head` writes the page quickly; the PNG pictures are `fit.report`.
"""
