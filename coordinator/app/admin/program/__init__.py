"""States that programs have saved, for the commands of people and of programs."""
