"""How rooms talk: generated messages (`v1`), tensors on the wire, typed clients, the server of a room."""
