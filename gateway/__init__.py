"""Who asks: HTTP, live pages and the command line. The only package that serves HTTP."""
