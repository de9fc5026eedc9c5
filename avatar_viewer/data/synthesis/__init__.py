"""The project's synthetic person: planned, modelled, drawn by Blender in processes of its own.

Lengths within this folder are decimetres, MakeHuman's unit, unless a name says otherwise.
"""
