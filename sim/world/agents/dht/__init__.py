"""Questions that find their host through a DHT: who is a node, who asks, what a lookup costs."""
