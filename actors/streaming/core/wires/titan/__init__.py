"""Amazon's Titan text models, in their own format: a prompt and its continuation."""
