"""A stand-in for the package `lockfolder` 1.0.2 of PyPI: change

    from lockfolder import lockfolder          to
    from lockfolder_compat import lockfolder
"""
