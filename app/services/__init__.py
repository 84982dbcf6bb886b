"""Services under the import paths of the operations guide."""
