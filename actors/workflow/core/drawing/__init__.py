"""Pictures of nets: as text in Mermaid, and as SVG. Pure."""
