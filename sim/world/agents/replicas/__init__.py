"""What a record is at each of its replicas: versions, quorums, take-over, agents that move."""
