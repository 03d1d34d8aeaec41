"""Text files of any provenance: any encoding, any line ends, gzipped or not, with damaged places.

A command reads files through `TextFile`. What cannot be read is a `Flaw` with its line, never the end of the file.
"""
