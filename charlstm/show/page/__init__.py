"""A model, and perhaps a text -> one HTML file that writes and shows its gates in any browser.

The page is made of the files here, by `join`; `page.html` shows how they lie in it. `app.js` is where it begins.
"""
