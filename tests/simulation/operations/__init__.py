"""Workers of nodes on virtual time, with every kind of fault, and what must hold of them."""
