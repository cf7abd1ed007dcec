"""Objects by digest and the SQL tables that are the truth about them."""
