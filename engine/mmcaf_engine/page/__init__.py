"""Pages for people: what every HTML page of this program is made of, without a script and without a request."""
