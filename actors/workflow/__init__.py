"""The workflow engine: keeps definitions and runs their instances, nets whose tokens carry data."""
