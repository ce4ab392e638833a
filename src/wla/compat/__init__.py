"""Foreign checkpoints and datasets. Nothing but the command line imports this part."""
