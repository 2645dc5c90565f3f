"""Identity: owns tenants, their members and API keys, and says whom a key stands for."""
