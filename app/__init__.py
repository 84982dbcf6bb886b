"""The platform's skin: the import paths and the ASGI app that Chrono Scraper expects."""
