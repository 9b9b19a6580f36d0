"""What several parts agree on, each thing once: stages, run options, output files, and the report of a case.

Everything else derives from here: command line, queue, worker, REST interface, page, endpoint and reference pages.
"""
