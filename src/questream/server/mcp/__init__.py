"""The reads and operations of the API as tools of a language model, by the Model Context Protocol over stdio."""
