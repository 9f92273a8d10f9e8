"""The online demo: drop a picture, watch it learn, compare. Started with `python -m web`.

The modules, each of which imports only later ones:

    __main__   the command
    app        the Flask application: pages, headers, errors
    api        the JSON API
    openapi    its description
    uploads    what is in the form of an upload
    visitors   who is asking
    services   what the handlers of requests share
    quick      looks at uploads, in a worker process of their own
    jobs       jobs on a Dask cluster
    worker     what the worker processes do; alone imports torch, and is imported in them alone, by its name
    metrics    figures for Prometheus
    store      jobs and files on disk
    messages   what travels between the web process and the workers
    config     settings of the server, and what visitors may set
"""

from web.app import create_app

__all__ = ["create_app"]
