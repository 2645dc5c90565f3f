"""OpenAI Responses: the newer format of OpenAI and Azure."""
