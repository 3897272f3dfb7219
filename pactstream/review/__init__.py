"""Looking at a version of a pact before it is put in force: on examples, against another, on recorded calls."""
