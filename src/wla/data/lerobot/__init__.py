"""LeRobot v3.0 datasets: format, reader, writer."""
