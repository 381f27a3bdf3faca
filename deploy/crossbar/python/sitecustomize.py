"""
Python imports this at its start wherever this folder is on PYTHONPATH: the router's processes.

autobahn reads JSON with the scanner of the standard library that is written in Python, and one of
its dependencies raises the limit of recursion to 100,000. Together: 200 KB of nested brackets, from
anybody, kept the whole router busy for a minute. The scanner written in C ends at the limit set
here, and takes a sixteenth of the time for a batch of readings. What it does not do is autobahn's
convention for binary values in JSON (texts that begin with NUL), which nothing here uses.

autobahn also writes JSON in UTF-8, which has no lone surrogates: a call with one was never answered.
Escaped they go through, and are refused by whoever parses the field.
"""

import json.encoder
import json.scanner
import sys

if json.scanner.c_make_scanner is not None:
    json.scanner.py_make_scanner = json.scanner.c_make_scanner

json.encoder.encode_basestring = json.encoder.encode_basestring_ascii

_recursion_limit = 3000
_set_recursion_limit = sys.setrecursionlimit


def _set_bounded_recursion_limit(limit):
    _set_recursion_limit(min(limit, _recursion_limit))


sys.setrecursionlimit = _set_bounded_recursion_limit
