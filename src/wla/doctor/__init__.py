"""What a machine lacks (`wla doctor`), and where an environment differs from its recordings (`wla doctor env`)."""
