"""What is behind scripts/deploy, scripts/destroy and scripts/test."""
