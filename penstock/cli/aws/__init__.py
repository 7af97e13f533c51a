"""The environment of terraform/environments/local: an AWS emulator, what is applied to it, and the pipeline on it."""
