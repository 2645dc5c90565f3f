"""Google: paths of models, and access tokens of service accounts."""
