"""What agents put on links, cell by cell of the grid."""
