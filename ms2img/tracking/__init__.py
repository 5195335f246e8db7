"""The only room that knows MLflow: tracked runs, the registered model flavour, pulling models back."""
