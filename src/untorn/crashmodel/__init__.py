"""What a crash may leave, as rules over a recorded trace; and a machine in memory whose power can be cut."""
