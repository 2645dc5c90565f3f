"""Who lives here: one package an actor. An actor never imports another."""
