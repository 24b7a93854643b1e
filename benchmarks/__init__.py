"""What warren can do per second, beside what a user would pick instead. See the README in this folder."""
