"""Code and data that only the book uses, shared by its notebooks and their tests.

Notebooks find this package because they lie beside its folder.  The built site serves the folder
as ``_static/book.zip``, for whoever downloads a single notebook.  The package `hmmtheory` never
imports anything from here.
"""
