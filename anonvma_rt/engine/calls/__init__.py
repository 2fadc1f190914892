"""What the operations of an object under test were called with and returned, for whoever judges that."""
