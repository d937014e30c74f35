"""Alert people once about each condition: find it, open the alert, deliver it, close it."""
