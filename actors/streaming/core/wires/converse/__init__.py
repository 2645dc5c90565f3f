"""AWS Bedrock's ConverseStream: one format for the models of all its vendors."""
